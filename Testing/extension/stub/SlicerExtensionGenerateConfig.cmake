# Slicer writes SAMMed2DConfig.cmake here, for extensions that build upon this one. None does.
if(NOT EXTENSION_NAME)
  message(FATAL_ERROR "include(\${Slicer_USE_FILE}) comes first")
endif()
