import sys
from pathlib import Path

from limits import rights_count

from .watch import main

with rights_count():  # of files that may not be read, also for root
    main(Path(sys.argv[1]))
