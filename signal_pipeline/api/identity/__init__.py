"""Who is calling: API keys, login tokens, the gateway's signature, forwarded headers, limits."""
