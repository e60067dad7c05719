"""The pages: served by the API's own process, from the bundle that `ui/` is built to."""
