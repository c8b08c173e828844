"""Why a picture or text got its verdict: where it lies, and what lies around it.

``explanation``  the path from the root, the cones that contain the input, its standing
``parts``        which words or places of the input push it outward
``drawing``      lines, areas and words, as SVG or PNG
``disk``         the picture of all that
``page``         a page that holds everything
"""
