/* The program that "fork + exec + wait" runs: as small as a static glibc program gets. */
int main(void)
{
	return 0;
}
