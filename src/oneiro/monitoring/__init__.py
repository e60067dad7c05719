"""How a process is watched: `/metrics`, and how long its requests take."""
