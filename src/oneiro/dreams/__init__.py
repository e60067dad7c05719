"""The dream journal."""
