import qt

class ctkPathLineEdit(qt.QWidget):
    Files: int
    Readable: int
    currentPath: str
    filters: int
    nameFilters: list[str]
    settingKey: str
