# A toolchain for an extension without C++: CMake asks for compilers, and never calls them.
set(CMAKE_C_COMPILER ${CMAKE_COMMAND})
set(CMAKE_C_COMPILER_FORCED TRUE)
set(CMAKE_CXX_COMPILER ${CMAKE_COMMAND})
set(CMAKE_CXX_COMPILER_FORCED TRUE)
