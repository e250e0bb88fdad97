"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "xmlsocket"
author = "the xmlsocket contributors"
copyright = "the xmlsocket contributors"  # the name that Sphinx knows it by
release = version = metadata.version("xmlsocket")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False

# What stands under its own name in ``xmlsocket`` has to be found, and the members of its classes. Annotations also name
# the standard library, which cannot be looked up without a network, and inner types.
nitpick_ignore_regex = [(r"py:.*", r"(?!xmlsocket\.([a-z]\w*|[A-Z]\w*(\.\w+)?)$).*")]

html_theme = "furo"
html_title = f"xmlsocket {release}"
html_static_path = ["_static"]
html_css_files = ["xmlsocket.css"]
html_show_copyright = False
html_copy_source = False
