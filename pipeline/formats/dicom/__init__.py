"""DICOM: headers, pixels, series, radiographs, and segmentation objects in and out."""
