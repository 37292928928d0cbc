"""What is claimed of speed and memory, a module each: measure(...) runs ours and its peers and returns a record.

A record is plain containers: ``title``; ``rows``, the table, each {column: number or text}; ``notes``, lines below it;
and whatever else is worth keeping. The command prints the table and appends all of it to a file.
"""
