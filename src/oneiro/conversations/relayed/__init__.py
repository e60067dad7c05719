"""Conversations that come by the relay: who may open one, what is written of it, how its sessions end."""
