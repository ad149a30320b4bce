"""Where the XML files of a folder are, and the images that may be theirs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from moat_det.data.images.find import is_image, walk


@dataclass(frozen=True)
class XmlFolder:
    """A folder of VOC XML, and the folders where its images are looked for; every path is absolute.

    Attributes:
        place: The folder.
        files: The XML files in it and its sub-folders.
        images: The images among them.
        around: The images in the other folders where those of the XML files are looked for, by folder.
        others: What lies in the folder and is neither XML nor an image.
    """

    place: str
    files: list[str]
    images: list[str]
    around: dict[str, list[str]]
    others: list[str]

    @property
    def all_images(self) -> set[str]:
        """Those in the folder and those around it."""
        return set(self.images).union(*self.around.values())


def read_xml_folder(place: str, image_root: str | None) -> XmlFolder | None:
    """Look through a folder; gives None where there is no XML file, or no folder.

    Args:
        place: The folder, absolute.
        image_root: The folder with the images of the XML files; None for the places around each.
    """
    if not os.path.isdir(place):
        return None
    found = sorted(walk(place))
    files = [file for file in found if _is_xml(file)]
    if not files:
        return None
    folders = {folder for file in files for folder in image_folders(os.path.dirname(file), image_root)}
    return XmlFolder(
        place,
        files,
        [file for file in found if is_image(file)],
        {folder: sorted(filter(is_image, walk(folder))) for folder in sorted(folders) if os.path.isdir(folder)},
        [file for file in found if not is_image(file) and not _is_xml(file)],
    )


def image_folders(folder: str, image_root: str | None) -> list[str]:
    """Give where the images of the XML files that lie in a folder are looked for, in this order."""
    if image_root:
        return [os.path.abspath(image_root)]
    above = os.path.dirname(folder)
    return [folder, os.path.join(above, "JPEGImages"), os.path.join(above, "images")]


def _is_xml(file: str) -> bool:
    return file.lower().endswith(".xml")
