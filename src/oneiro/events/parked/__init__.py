"""Events that a consumer could not handle, and the later ones of their conversation that wait behind them."""
