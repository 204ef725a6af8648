"""Everything that destroys: all statements of this plugin that change a user's data are here.

They are run on databases that the caller has proven to be ours, and concern nothing but the
current database.
"""
