"""Tools that developers run from the repository; they are not installed with the package."""
