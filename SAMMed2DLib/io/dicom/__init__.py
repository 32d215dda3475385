"""DICOM files and folders: volumes placed by what the files say, and segmentations."""

from SAMMed2DLib.io.dicom.dicom_reader import read_dicom
from SAMMed2DLib.io.dicom.frames import DicomError, looks_like_dicom

__all__ = ["DicomError", "looks_like_dicom", "read_dicom"]
