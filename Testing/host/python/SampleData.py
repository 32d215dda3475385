"""Stands for Slicer's SampleData module where its own file is not at hand: registered data sets, and loading one.

Left out: the panel, Slicer's own data sets, archives, scenes. Nothing comes from the network: URIs must be local files.
"""

import os
import urllib.parse

import slicer


class NoNetworkError(RuntimeError):
    """A test would have downloaded something."""


class SampleDataSource:
    """One data set: as many uris as fileNames, nodeNames, loadFileTypes and checksums."""

    def __init__(self, sampleName=None, sampleDescription=None, uris=None, fileNames=None, nodeNames=None,
                 checksums=None, loadFiles=None, customDownloader=None, thumbnailFileName=None,
                 loadFileTypes=None, loadFileProperties=None):
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.uris, self.fileNames, self.nodeNames = _list(uris), _list(fileNames), _list(nodeNames, uris)
        self.checksums, self.loadFiles = _list(checksums, uris), _list(loadFiles, uris)
        self.loadFileTypes, self.loadFileProperties = _list(loadFileTypes, uris), loadFileProperties or {}
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        lists = (self.uris, self.fileNames, self.nodeNames, self.checksums, self.loadFiles, self.loadFileTypes)
        if len({len(one) for one in lists}) != 1:
            raise ValueError(f"as many names, types and checksums as URIs are needed: {lists}")

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


def _list(value, like=None):
    if value is None and isinstance(like, list | tuple):
        return [None] * len(like)
    return list(value) if isinstance(value, list | tuple) else [value]


class SampleDataLogic:
    """Registers data sets in slicer.modules.sampleDataSources, by category."""

    @staticmethod
    def registerCustomSampleDataCategory(category, title):
        if not hasattr(slicer.modules, "sampleDataSourceCategories"):
            slicer.modules.sampleDataSourceCategories = {}
        slicer.modules.sampleDataSourceCategories[category] = {"title": title}

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None,
                                       customDownloader=None, thumbnailFileName=None, loadFileTypes=None,
                                       loadFiles=None, loadFileProperties=None, checksums=None):
        source = SampleDataSource(
            sampleName, None, uris, fileNames, nodeNames, checksums, loadFiles, customDownloader, thumbnailFileName,
            loadFileTypes, loadFileProperties,
        )
        if not SampleDataLogic.isSampleDataSourceRegistered(category, source):
            SampleDataLogic.sampleDataSourcesByCategory().setdefault(category, []).append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        sources = slicer.modules.sampleDataSources
        return sources if category is None else sources.get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category, source):
        return source in SampleDataLogic.sampleDataSourcesByCategory(category)

    def sourceForSampleName(self, name):
        sources = [one for many in self.sampleDataSourcesByCategory().values() for one in many]
        return next((source for source in sources if source.sampleName == name), None)

    def downloadSamples(self, name):
        source = self.sourceForSampleName(name)
        return self.downloadFromSource(source) if source else []

    def downloadSample(self, name):
        return self.downloadSamples(name)[0]

    def downloadFromSource(self, source):
        """The loaded nodes.

        Raises:
            NoNetworkError: a file is not on this machine.
        """
        if source.customDownloader:
            return source.customDownloader(source)
        rows = zip(source.uris, source.fileNames, source.nodeNames, source.loadFileTypes, source.checksums, strict=True)
        return [self._load(*row) for row in rows]

    @staticmethod
    def _load(uri, name, node_name, file_type, checksum):
        if urllib.parse.urlparse(uri).scheme != "file":
            raise NoNetworkError(f"tests do not download {uri}")
        path = os.path.join(slicer.app.cachePath, name)
        slicer.util.downloadFile(uri, path, checksum)
        properties = {"name": node_name} if node_name else {}
        return slicer.util.loadNodeFromFile(path, file_type or "VolumeFile", properties)


def downloadSample(sampleName):
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName):
    return SampleDataLogic().downloadSamples(sampleName)
