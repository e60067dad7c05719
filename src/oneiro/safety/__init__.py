"""What the platform owes a dreamer in danger: the crisis gate, the help lines and the honest disclosure."""
