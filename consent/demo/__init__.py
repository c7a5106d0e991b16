"""The demo: sample parties, a sample bank and data platform, and the tour that walks the main job over real HTTP.

The only part of the server that may use the SDK, and it does so as any client would.
"""
