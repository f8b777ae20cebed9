"""The commands about objects, in the grammar of kubectl. Each module is one verb, or a few that belong together."""
