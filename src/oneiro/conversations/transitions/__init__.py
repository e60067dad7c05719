"""How a conversation moves from one state to the next, in rows."""
