from vtk.util import numpy_support as numpy_support
