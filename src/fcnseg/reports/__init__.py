"""Reports: a sweep's run folders beside the paper's numbers, as Markdown, LaTeX and one page of HTML."""
