"""Commands for backups, archives, files, the audit log and the doctor."""
