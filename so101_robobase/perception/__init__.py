"""From camera pictures to what the policy sees: class ids and disparity.

The networks need the extra `perception`; training a policy does without this package.
"""
