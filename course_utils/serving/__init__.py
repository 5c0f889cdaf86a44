"""Published models: versions, applications, keys, and an OpenAI-compatible API that other programs can call."""
