"""Makes the generated parts of both clients from the API's description (`make clients`).

Of the generators that exist none fits: of this description, one drops the requests that matter most
and makes 16,000 lines of the rest, one demands what has a default, and none has one reading for
two languages. Here both are printed from one reading, so that they cannot differ.
"""
