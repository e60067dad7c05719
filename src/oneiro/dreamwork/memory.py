"""What one conversation remembers: images, feelings, where the talk stands. It lives only as long as the talk."""

from dataclasses import dataclass, field

from oneiro.dreamwork.imagery import Image

_VIVID = 4.0
_MAX_IMAGES = 200


@dataclass
class Memory:
    """The images in the order they were told, the one being looked at, and how far the looking has come."""

    images: list[Image] = field(default_factory=list)
    visited: set[str] = field(default_factory=set)
    recalled: set[str] = field(default_factory=set)
    current: Image | None = None
    previous: Image | None = None
    depth: int = 0
    turns: int = 0
    dark: bool = False
    checked_in: bool = False
    asked: bool = False
    last_response: str = ""
    journal_used: bool = False
    remembered_used: bool = False

    def keep(self, images: tuple[Image, ...]) -> None:
        """Keep the images of a turn that are vivid enough to come back to."""
        known = {image.key for image in self.images}
        new = [image for image in images if image.key not in known and image.score >= _VIVID and image.short]
        self.images = (self.images + new)[:_MAX_IMAGES]

    def visit(self, image: Image) -> None:
        """Turn to `image`."""
        self.previous = self.current
        self.current = image
        self.visited.add(image.key)
        self.depth = 0

    def waiting(self) -> Image | None:
        """Return the most vivid image that was told and not yet looked at."""
        left = [image for image in self.images if image.key not in self.visited]
        return max(left, key=lambda image: image.score, default=None)

    def other(self) -> Image | None:
        """Return an image from earlier that was not called back yet, other than the current one."""
        for image in self.images:
            if image.key in self.visited and image is not self.current and image.key not in self.recalled:
                return image
        return None
