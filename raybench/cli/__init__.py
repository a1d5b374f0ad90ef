__all__ = ["app", "config_argument", "next_command", "output", "progress_bars", "run_argument", "startup", "tables"]
