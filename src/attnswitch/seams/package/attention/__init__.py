"""One attention call of a package's API as data, and its way to the backend in force."""
