class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None: ...
    @staticmethod
    def registerCustomSampleDataSource(
        category: str, sampleName: str, uris: str, fileNames: str, nodeNames: str, checksums: str
    ) -> None: ...
