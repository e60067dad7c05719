"""What can go wrong with a voice platform, in our words."""

from oneiro.errors import OneiroError, PlatformBusy, PlatformUnavailable

__all__ = ["PlatformBusy", "PlatformLacks", "PlatformRefused", "PlatformUnavailable"]


class PlatformRefused(OneiroError):
    """The platform refused what we asked (a key, a model, a voice): trying again changes nothing."""

    status = 502
    title = "The voice platform refused"
    code = "platform_refused"


class PlatformLacks(OneiroError):
    """The platform does not know the agent, voice or conversation that we named."""

    status = 502
    title = "The voice platform does not know this"
    code = "platform_lacks"
