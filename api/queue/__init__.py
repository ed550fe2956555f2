"""The queue of proof jobs: its rules run in the server, in Lua. It knows no HTTP."""
