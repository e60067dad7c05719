"""Past conversations made up from a seed, so that dashboards and reports can be tried and measured at size."""
