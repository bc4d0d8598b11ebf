from tests.cli.conftest import environ, home, run  # noqa: F401 - fixtures
