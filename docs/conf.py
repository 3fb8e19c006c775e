"""The settings of Sphinx: `make docs` builds every page of the repository into docs/_build."""

project = "picoauth"
author = "the picoauth authors"
project_copyright = author

# The source directory is the repository itself, so that a link from one Markdown file to another
# is right on a forge and in the built pages alike.
include_patterns = ["*.md", "docs/**", "plugins/*/README.md", "examples/*/README.md"]
exclude_patterns = [".*", "**/_build", "**/tests", "**/*.egg-info"]
root_doc = "docs/index"
html_extra_path = ["root"]  # index.html, which leads to the first page

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nitpicky = True

html_theme = "furo"
html_title = "picoauth"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["picoauth.css"]
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-code-background": "#f4f6f9"},
    "dark_css_variables": {"color-code-background": "#1b2027"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
