"""Who holds which GPU: by the kubelet's word, by the processes on it, or as configured.

`costmeter.gpu.owners.runner.claims_of` chooses the way and gives an object that answers
`of(reading)` from memory. Standard library only.
"""
