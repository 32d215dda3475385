# Stands for the build tree of Slicer, which an extension finds by find_package(Slicer): find it with
# -DSlicer_DIR=<this folder>. It knows only what this extension uses, and refuses what it does not know.
#
# What it shares with Slicer: the names of the macros and variables, which arguments they take, and where the installed
# files lie. What it leaves out: the build step (Slicer copies and compiles the files first), the launcher, the package.
#
# Everything that the macros are given is written to recorded.txt in the build folder, one line each:
#   script|resource|generic_tests|unittest <module> <file>

set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/SlicerExtensionGenerateConfig.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/SlicerExtensionCPack.cmake)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.13/qt-scripted-modules)
