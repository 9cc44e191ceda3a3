"""Records as text, as HTML pages and as plots.

    text             a comparison or a trace for the terminal (needs rich)
    comparison_page  a comparison as one self-contained HTML file (extra `report`)
    plots            figures for pages and documents (extra `report`)
    plot_files       the same figures as PNG or SVG files (extra `report`)

This room takes plain JSON data and knows no other room. Importing it imports none of the packages
of the extra: they are imported where they are first needed, so that text works without them.
"""
