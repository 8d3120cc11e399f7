"""The settings by room: names, what a value may be, and defaults; `app.config` has them as one."""
