"""The commands: parse, call, print. One small file each; `print` and exit statuses live here."""
