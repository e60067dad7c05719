"""Every setting, once: built at the start of a command and passed in; nothing else reads the environment."""

import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource

from oneiro.errors import SetupError


def default_data_dir() -> Path:
    """Where embedded mode keeps its database.

    As root this is `/var/lib/oneiro`: PostgreSQL then runs as another user, who cannot enter root's home.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/oneiro")
    return Path.home() / ".local" / "share" / "oneiro"


class _PlainLists:
    """Reads lists as comma-separated words, as people write them in an environment."""

    def decode_complex_value(self, field_name: str, field: object, value: str) -> object:
        return [word.strip() for word in value.split(",") if word.strip()]


class _Environment(_PlainLists, EnvSettingsSource):
    pass


class _DotEnv(_PlainLists, DotEnvSettingsSource):
    pass


class Settings(BaseSettings):
    """Settings of a process; `docs/reference/settings.md` describes each (a test compares)."""

    model_config = SettingsConfigDict(env_prefix="ONEIRO_", env_file=".env", extra="ignore", populate_by_name=True)

    database_url: SecretStr | None = Field(None, description="PostgreSQL, as the login role `oneiro_service`.")
    migrate_database_url: SecretStr | None = Field(
        None, description="PostgreSQL as the owner of the schema, for `oneiro migrate`; default: DATABASE_URL."
    )
    postgres_bin: Path | None = Field(None, description="Folder with `postgres` and `initdb` for embedded mode.")
    data_dir: Path = Field(default_factory=default_data_dir, description="Where embedded mode keeps its data.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8400, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(None, description="Address that clients see; default: the request's host.")
    jwt_secret: SecretStr | None = Field(None, description="Secret of HS256 tokens (Supabase: the JWT secret).")
    jwks_url: str | None = Field(None, description="Key set of asymmetric tokens (Supabase: …/.well-known/jwks.json).")
    jwt_audience: str = Field("authenticated", description="The audience that a token must name.")
    jwt_issuer: str | None = Field(None, description="The issuer that a token must name, when set.")
    cors_origins: list[str] = Field(default=[], description="Origins of pages that may call the API, with commas.")
    elevenlabs_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("ELEVENLABS_API_KEY", "elevenlabs_api_key"),
        description="Key of the voice platform; without one `up` and `talk` run on the engine.",
    )
    elevenlabs_base_url: str | None = Field(None, description="Address of the voice platform or of an engine.")
    elevenlabs_webhook_secret: SecretStr | None = Field(None, description="Secret of the platform's webhooks.")
    llm_base_url: str | None = Field(
        None,
        description="OpenAI-compatible endpoint: the engine's replies, summaries, talks while the platform is away.",
    )
    llm_model: str = Field("gpt-4o-mini", description="Model at that endpoint.")
    llm_provider: str | None = Field(
        None, description="Who runs that endpoint, as dreamers are told; default: its host."
    )
    llm_api_key: SecretStr | None = Field(None, description="Key of that endpoint.")
    transport: Literal["relay", "direct"] = Field("relay", description="How a client reaches the platform.")
    allow_direct: bool = Field(default=False, description="Whether a client may ask for `direct` itself.")
    agent_scope: Literal["release", "session"] = Field("release", description="What an agent is made for.")
    languages: list[str] = Field(default=["en"], description="Languages that a dreamer may choose, with commas.")
    models: list[str] = Field(default=["gpt-4o"], description="Language models; the first is the default.")
    default_voice_id: str = Field("21m00Tcm4TlvDq8ikWAM", description="Voice of an interpreter without one.")
    max_concurrent_calls: int = Field(100, ge=1, description="Conversations at once.")
    max_call_seconds: int = Field(3600, ge=60, description="Longest conversation, in seconds.")
    daily_minutes_per_dreamer: int | None = Field(None, ge=1, description="Minutes a day; unset: no bound.")
    voice_enabled: bool = Field(default=True, description="False turns every start into a written conversation.")
    idle_timeout_seconds: int = Field(1800, ge=60, description="Silence after which a conversation ends.")
    sweep_seconds: int = Field(300, ge=1, description="How often idle conversations are looked for.")
    pause_seconds: int = Field(300, ge=1, description="How long a paused conversation waits for its dreamer.")
    drain_seconds: int = Field(30, ge=0, description="How long a stopping process lets conversations finish.")
    rate_limits: bool = Field(default=True, description="Meant for limits per dreamer; nothing reads it yet.")
    webhooks_allow_private: bool = Field(default=False, description="Whether webhooks may go to private addresses.")
    nats_url: str | None = Field(None, description="Meant for a NATS server; nothing reads it yet.")
    log_format: Literal["console", "json"] = Field("console", description="How log lines look.")
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_exporter_otlp_endpoint"),
        description="Collector of traces (OTLP over HTTP, as `http://127.0.0.1:4318`); unset: no traces.",
    )

    @field_validator("languages", "models")
    @classmethod
    def _not_empty(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("name at least one")
        return value

    @field_validator("data_dir", "postgres_bin")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment before `.env`."""
        return init_settings, _Environment(settings_cls), _DotEnv(settings_cls)


def load_settings(**given: object) -> Settings:
    """Settings from arguments (None means not given), environment and `.env`.

    Raises `SetupError` with one line naming the first setting that is wrong.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = environment_name(str(first["loc"][0]))
        raise SetupError(f"{name}: {first['msg']}") from None


def environment_name(field: str) -> str:
    """The environment variable of a field: `database_url` → `ONEIRO_DATABASE_URL`."""
    unprefixed = {"elevenlabs_api_key", "otel_exporter_otlp_endpoint"}
    return field.upper() if field.lower() in unprefixed else f"ONEIRO_{field.upper()}"
