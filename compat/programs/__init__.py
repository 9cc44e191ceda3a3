"""Programs that run inside an environment of the suite, by path; they import no attnswitch."""
