"""What is in force: how policies and the catalogue come into force, and how each process comes to run them.

The ledger says it and nothing else does. The first start on an empty ledger puts in force what the service was installed with; after that
a signed bundle is proposed, approved by two different members of the staff and activated, each of which is a record. A process whose own
policies are not the ones in force reads those from the ledger's blob; so releases that run side by side agree.
"""
