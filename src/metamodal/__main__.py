"""`python -m metamodal` is the command line."""

from metamodal.app.cli import main

raise SystemExit(main())
