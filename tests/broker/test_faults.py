"""Some rows of the fault table (make faults), so that the program keeps working; what it proves is proved there."""

import asyncio
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "bench" / "faults"


async def test_the_quick_rows_of_the_fault_table_are_clean(broker_url: str) -> None:
    rows = [word for name in ("connection cut", "clock stepped back") for word in ("--only", name)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, "--quick", "--broker", broker_url, *rows, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert output.decode().count(": clean") == 2
