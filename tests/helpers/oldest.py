"""Prints pip's constraints for the oldest release of each dependency that setup.cfg allows.

python -m tests.helpers.oldest > oldest.txt
PIP_CONSTRAINT=oldest.txt pip install -e ".[test]"
"""

import configparser
import pathlib
import re

SETUP = pathlib.Path(__file__).resolve().parents[2] / "setup.cfg"


def constraints() -> list[str]:
    """`name==lowest` of every run-time dependency and every one of the tests."""
    # Without `packaging`: an environment that the constraints are made for has nothing yet.
    parser = configparser.ConfigParser()
    parser.read(SETUP)
    lines = parser["options"]["install_requires"] + parser["options.extras_require"]["test"]
    return [re.sub(r">=([^,]+),.*", r"==\1", line) for line in lines.split("\n") if line]


if __name__ == "__main__":
    print("\n".join(constraints()))
