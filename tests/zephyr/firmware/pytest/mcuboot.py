"""What MCUboot (swap, one image) decides and does at a boot, on the flash file of native_sim.

Slots as in the board's devicetree. Trailer, from the end of a slot: magic (16), image_ok (8), copy_done (8), swap_info (8).
"""

import pathlib
import struct

SLOT0, SLOT1, SIZE = 0xC000, 0x75000, 0x69000
IMAGE_MAGIC = struct.pack("<I", 0x96F3B83D)
MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
SET = 1


class Flash:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def read(self, at, length):
        return self.path.read_bytes()[at:at + length]

    def write(self, at, data):
        whole = bytearray(self.path.read_bytes())
        whole[at:at + len(data)] = data
        self.path.write_bytes(whole)

    def trailer(self, slot):
        end = slot + SIZE
        return {"magic": self.read(end - 16, 16) == MAGIC, "image_ok": self.read(end - 24, 1)[0],
                "copy_done": self.read(end - 32, 1)[0]}

    def has_image(self, slot):
        return self.read(slot, 4) == IMAGE_MAGIC

    def swap(self, image_ok):
        one, other = self.read(SLOT0, SIZE - 4096), self.read(SLOT1, SIZE - 4096)
        self.write(SLOT0, other + b"\xff" * 4096)
        self.write(SLOT1, one + b"\xff" * 4096)
        end = SLOT0 + SIZE
        self.write(end - 16, MAGIC)
        self.write(end - 32, bytes([SET]))
        if image_ok:
            self.write(end - 24, bytes([SET]))

    def boot(self):
        """"test", "revert" or "none": the table of swap types in MCUboot's design.md, without permanent ones."""
        primary, secondary = self.trailer(SLOT0), self.trailer(SLOT1)
        if secondary["magic"] and secondary["image_ok"] != SET:
            if not self.has_image(SLOT1):
                # No valid image: MCUboot does not swap.
                return "none"
            self.swap(image_ok=False)
            return "test"
        if primary["magic"] and primary["copy_done"] == SET and primary["image_ok"] != SET:
            self.swap(image_ok=True)
            return "revert"
        return "none"
