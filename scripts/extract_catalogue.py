"""Write libvirt_amqp/api.json: libvirt's API as data, from libvirt's own description of it and the installed binding.

    scripts/extract_catalogue.py [DIRECTORY]     the directory with libvirt-api.xml (default: /usr/share/libvirt/api)

libvirt-api.xml (Debian: libvirt-dev) gives functions, structs, enums; libvirt.py gives the method behind each function
and which of C's arguments it takes.  permissions.json, which extract_permissions.py writes from libvirt's source, has
what neither says: permissions, priorities, which functions refuse a read-only connection.  What a person had to look up
is in extraction/reviewed.py.  What cannot be placed is left out, with that as the reason, and told at the end; a
function that permissions.json does not have counts as one that changes something.  Review the difference before
committing it.
"""

import sys
from pathlib import Path

from extraction.extractor import DESCRIPTIONS, Extractor, dump

TARGET = Path(__file__).resolve().parents[1] / "libvirt_amqp" / "api.json"
INSTALLED = Path("/usr/share/libvirt/api")


def main(directory: Path) -> None:
    """Write the catalogue, and tell what somebody has to look at."""
    missing = [name for name in DESCRIPTIONS if not (directory / name).is_file()]
    if missing:
        sys.exit(f"{directory} has no {' and no '.join(missing)}: install libvirt-dev, or name another directory")
    extractor = Extractor(directory)
    catalogue = extractor.run()
    TARGET.write_text(dump(catalogue))
    served = sum("left_out" not in row for row in catalogue["functions"].values())
    print(f"libvirt {catalogue['libvirt']}: {len(catalogue['functions'])} functions, {served} of them served")
    if extractor.notes:
        print(f"To be looked at (permissions.json is of libvirt {extractor.looked_up_in}):")
        print("\n".join(f"  {note}" for note in extractor.notes))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else INSTALLED)
